// A client of the published TypeScript package. Reads what to do from standard input, one JSON
// object, and prints what came of it. When a call streams it says so, and goes on.

import { createInterface } from 'node:readline';

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const say = (what) => console.log(JSON.stringify(what));
const words = (error) => `${error?.name}: ${error?.message}`;
const lines = createInterface({ input: process.stdin });
const task = JSON.parse((await lines[Symbol.asyncIterator]().next()).value);
const statuses = [];

// Offers the version that is asked for. The package offers the newest that it knows.
async function spoken(url, options) {
  let { body } = options ?? {};
  if (typeof body === 'string' && body.includes('"initialize"')) {
    const message = JSON.parse(body);
    message.params.protocolVersion = task.version;
    body = JSON.stringify(message);
  }
  const response = await fetch(url, { ...options, body });
  statuses.push([options?.method, response.status]);
  return response;
}

// The text of a tool's result, or the error, with the statuses seen meanwhile.
async function attempt(call) {
  statuses.length = 0;
  let said;
  try {
    const result = await call();
    said = { text: result.content[0].text, is_error: result.isError ?? false };
  } catch (error) {
    said = { error: words(error) };
  }
  const posts = statuses.filter(([method]) => method === 'POST');
  return { ...said, statuses: posts.map(([, status]) => status) };
}

const transport = new StreamableHTTPClientTransport(new URL(task.url), {
  fetch: spoken,
  requestInit: { headers: { authorization: `Bearer ${task.token}` } },
});
const client = new Client({ name: 'suite', version: '1.0.0' });
// What ends a stream is told here, and not to the call that waits for it.
const failed = new Promise((_, reject) => {
  client.onerror = reject;
});
failed.catch(() => {});
try {
  await client.connect(transport);
  const { tools } = await client.listTools();
  const call = (name, args) => () => client.callTool({ name, arguments: args });
  say({
    version: transport.protocolVersion,
    tools: tools.map((tool) => tool.name).sort(),
    search: await attempt(call('search', { q: 'é' })),
    delete_all: await attempt(call('delete_all', {})),
    unlisted: await attempt(call('unlisted', {})),
  });
  if (task.watch) {
    const broken = new Promise((_, reject) => {
      client.onerror = reject;
    });
    const onprogress = ({ message }) => say({ streaming: message });
    const watch = () => client.callTool({ name: 'watch', arguments: {} }, undefined, { onprogress });
    say({ watch: await attempt(() => Promise.race([watch(), broken])) });
  }
} catch (error) {
  say({ failed: words(error), statuses: statuses.map(([, status]) => status) });
}
process.exit(0);
