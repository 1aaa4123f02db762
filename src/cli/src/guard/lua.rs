//! As much of Lua as a gate's function needs. What is not written in one of the forms known
//! here is not taken for a gate.

/// A text without comments, a blank between any two tokens, and one kind of quotes.
fn tokens(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        if next.is_whitespace() {
            continue;
        }
        if next == '-' && rest.next_if_eq(&'-').is_some() {
            comment(&mut rest);
            continue;
        }
        let mut token = String::from(next);
        if next == '"' || next == '\'' {
            token = String::from('"');
            while let Some(c) = rest.next_if(|c| *c != next) {
                token.push(c);
                if c == '\\' {
                    token.extend(rest.next());
                }
            }
            rest.next();
            token.push('"');
        } else if next.is_alphanumeric() || next == '_' {
            while let Some(c) = rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
                token.push(c);
            }
        } else if "~=<>".contains(next) {
            token.extend(rest.next_if_eq(&'='));
        }
        all.push(token);
    }
    all
}

/// Skips a comment, of one line or in long brackets.
fn comment(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    let mut head = rest.clone();
    let mut level: usize = 0;
    if head.next() == Some('[') {
        while head.next_if_eq(&'=').is_some() {
            level = level.saturating_add(1);
        }
        if head.next() == Some('[') {
            let end = format!("]{}]", "=".repeat(level));
            let mut seen = String::new();
            for c in head.by_ref() {
                seen.push(c);
                if seen.ends_with(&end) {
                    break;
                }
            }
            *rest = head;
            return;
        }
    }
    while rest.next_if(|c| *c != '\n').is_some() {}
}

/// Whether a function refuses, before anything else, where a variable is not `opened`.
pub(super) fn holds(text: &str, variable: &str, opened: &str) -> bool {
    let all = tokens(text);
    let mut rest = all.iter().map(String::as_str);
    let opened = format!("\"{opened}\"");
    if !["return", "function", "("]
        .iter()
        .all(|token| rest.next() == Some(token))
    {
        return false;
    }
    // Its arguments: names and commas.
    if !rest.any(|token| token == ")") {
        return false;
    }
    let condition = [
        "if", "ngx", ".", "var", ".", variable, "~=", &opened, "then",
    ];
    if !condition.iter().all(|token| rest.next() == Some(token)) {
        return false;
    }
    let rest: Vec<&str> = rest.collect();
    let rest = rest.as_slice();
    let status = match rest {
        ["return", "ngx", ".", "exit", "(", status, ")", "end", ..]
        | ["return", status, "end", ..]
        | ["return", status, ",", _, "end", ..]
        | ["ngx", ".", "exit", "(", status, ")", "end", ..] => status,
        _ => return false,
    };
    status
        .parse::<u16>()
        .is_ok_and(|status| (400..600).contains(&status))
}

/// Whether a text may give a value to a variable of nginx. Only comparisons of it are known
/// to be harmless. `ngx.var` (`ctx.var` of APISIX is the same table) under a computed name, or
/// handed on as a whole, may be that variable.
pub(super) fn may_set(text: &str, variable: &str) -> bool {
    let all = tokens(text);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let quoted = format!("\"{variable}\"");
    let is_compared = |after: Option<&&str>| matches!(after, Some(&("~=" | "==")));
    all.iter().enumerate().any(|(at, token)| {
        let rest = all.get(at.saturating_add(1)..).unwrap_or_default();
        let before = at.checked_sub(1).and_then(|at| all.get(at));
        if *token == variable {
            // nginx's own statements around the Lua of a snippet are looked at elsewhere.
            if matches!(before, Some(&("$" | "{"))) {
                return false;
            }
            return !is_compared(rest.first());
        }
        if *token == quoted {
            return !(rest.first() == Some(&"]") && is_compared(rest.get(1)));
        }
        let is_table = *token == "var" && before == Some(&".");
        is_table && !names_one(rest)
    })
}

/// Whether a table is followed by the plain name of one of its fields.
fn names_one(rest: &[&str]) -> bool {
    match rest {
        [".", ..] => true,
        ["[", name, "]", ..] => name.starts_with('"') && !name.contains('\\'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_known_in_its_forms_and_in_no_other() {
        let g = |text: &str| holds(text, "g", "open");
        for good in [
            "return function() if ngx.var.g ~= \"open\" then return 503 end end",
            "return function(conf, ctx) -- all of it\n if ngx.var.g ~='open' then ngx.exit(403) end end",
            "--[==[ x\n]==] return function() if ngx.var.g ~= 'open' then return ngx.exit(503) end x() end",
            "return function() if ngx.var.g ~= 'open' then return 503, 'no' end end",
        ] {
            assert!(g(good), "{good}");
        }
        for bad in [
            "",
            "return function() end -- if ngx.var.g ~= \"open\" then return 503 end",
            "return function() --[[\n if ngx.var.g ~= 'open' then return 503 end ]] end",
            "return function() if ngx.var.g == 'open' then return 503 end end",
            "return function() if ngx.var.g ~= 'open' then return 200 end end",
            "return function() if ngx.var.g ~= 'open' then return end return 503 end",
            "return function() if ngx.var.g ~= 'open' and false then return 503 end end",
            "return function() if x then return end if ngx.var.g ~= 'open' then return 503 end end",
            "return function() if ngx.var.h ~= 'open' then return 503 end end",
            "return function() local s = \"if ngx.var.g ~= 'open' then return 503 end\" end",
        ] {
            assert!(!g(bad), "{bad}");
        }
    }

    #[test]
    fn whoever_may_set_the_gate_is_seen() {
        for setting in [
            "x() ngx.var.g = 'open'",
            "ngx.var['g']='open'",
            "a, ngx.var.g, b = 1, 'open', 2",
            "ngx.var['g'], b = 'open'",
            "ngx.var['' .. 'g'] = 'open'",
            "ngx.var[name] = 'open'",
            "ngx.var['\\103'] = 'open'",
            "ctx.var.g = 'open'",
            "local v = ngx.var v[name] = 'open'",
            "rawset(ngx.var, name, 'open')",
            "local v = ngx.var.h v.g = 'open'",
        ] {
            assert!(may_set(setting, "g"), "{setting}");
        }
        for harmless in [
            "if ngx.var.g == 'open' then end -- ngx.var.g = 1",
            "if ngx.var['g'] ~= 'open' then return 503 end",
            "ngx.var.h = ngx.var['i']",
            "local var = 1; log(var)",
            "set $g 'deny';",
            "",
        ] {
            assert!(!may_set(harmless, "g"), "{harmless}");
        }
    }
}
