// Puts the current state in the place of the old one. Without it the page stays as it was
// loaded. What does not answer any more must not go on saying that all is well.
"use strict";

const EVERY_MS = 3000;
const TIMEOUT_MS = 8000;
let answeredAt = new Date();

function parts(markup) {
  // Nothing in a document that is made so runs or is fetched.
  const made = new DOMParser().parseFromString(markup, "text/html");
  return ["verdict", "facts"].map((id) => [document.getElementById(id), made.getElementById(id)]);
}

function noAnswer() {
  const verdict = document.getElementById("verdict");
  const section = document.createElement("section");
  section.className = "verdict bad";
  const heading = document.createElement("h2");
  heading.textContent = "Not known: the companion does not answer";
  const text = document.createElement("p");
  text.textContent = `It last answered at ${answeredAt.toLocaleTimeString()}. What is below is as old.`;
  section.append(heading, text);
  if (!verdict.firstElementChild || !verdict.firstElementChild.isEqualNode(section)) {
    verdict.replaceChildren(section);
  }
}

async function look() {
  try {
    const answer = await fetch("/status", {
      cache: "no-store",
      redirect: "error",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (!answer.ok) throw new Error("no state");
    const found = parts(await answer.text());
    if (found.some(([, after]) => !after)) throw new Error("no state");
    // A reader is told of a change only if there is one.
    for (const [before, after] of found) {
      if (!before.isEqualNode(after)) before.replaceChildren(...after.childNodes);
    }
    answeredAt = new Date();
  } catch {
    noAnswer();
  }
}

async function follow() {
  if (!document.hidden) await look();
  setTimeout(follow, EVERY_MS);
}

if (document.getElementById("verdict")) {
  document.addEventListener("visibilitychange", () => document.hidden || look());
  setTimeout(follow, EVERY_MS);
}
