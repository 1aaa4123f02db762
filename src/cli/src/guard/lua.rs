//! As much of Lua as a gate's function needs. What is not written in one of the forms known
//! here is not taken for a gate.

/// Reads Lua token by token, without its comments.
struct Lexer<'t> {
    rest: &'t str,
}

impl<'t> Lexer<'t> {
    /// The next token; every string in one kind of quotes.
    fn token(&mut self) -> Option<String> {
        loop {
            self.rest = self.rest.trim_start();
            let Some(comment) = self.rest.strip_prefix("--") else {
                break;
            };
            self.rest = comment;
            if self.long_string().is_none() {
                // A line ends at either of them.
                let end = comment.find(['\n', '\r']).unwrap_or(comment.len());
                self.rest = comment.get(end..).unwrap_or_default();
            }
        }
        if let Some(inside) = self.long_string() {
            return Some(format!("\"{inside}\""));
        }
        let first = self.rest.chars().next()?;
        if first == '"' || first == '\'' {
            return Some(self.quoted(first));
        }
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let len = match first {
            _ if is_name(first) => {
                let end = self.rest.find(|c| !is_name(c));
                end.unwrap_or(self.rest.len())
            }
            '~' | '=' | '<' | '>' if self.rest.get(1..2) == Some("=") => 2,
            _ => first.len_utf8(),
        };
        let (token, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(token.to_owned())
    }

    /// The inside of `[[...]]` or `[=[...]=]`, if one begins here.
    fn long_string(&mut self) -> Option<&'t str> {
        let inner = self.rest.strip_prefix('[')?;
        let behind = inner.trim_start_matches('=');
        let level = inner.len().saturating_sub(behind.len());
        let inside = behind.strip_prefix('[')?;
        let end = format!("]{}]", "=".repeat(level));
        let (found, rest) = inside.split_once(&end).unwrap_or((inside, ""));
        self.rest = rest;
        Some(found)
    }

    fn quoted(&mut self, mark: char) -> String {
        let inside = self.rest.get(1..).unwrap_or_default();
        let mut chars = inside.char_indices();
        while let Some((at, c)) = chars.next() {
            if c == '\\' {
                chars.next();
            } else if c == mark {
                self.rest = inside.get(at.saturating_add(1)..).unwrap_or_default();
                return format!("\"{}\"", inside.get(..at).unwrap_or_default());
            }
        }
        self.rest = "";
        format!("\"{inside}\"")
    }
}

pub(super) fn tokens(text: &str) -> Vec<String> {
    let mut lexer = Lexer { rest: text };
    std::iter::from_fn(|| lexer.token()).collect()
}

/// What stands before the brace that closes a block, and behind it. The text begins behind
/// the brace that opens it.
pub(super) fn block(text: &str) -> (&str, &str) {
    let mut lexer = Lexer { rest: text };
    let mut depth = 0_usize;
    while let Some(token) = lexer.token() {
        match token.as_str() {
            "{" => depth = depth.saturating_add(1),
            "}" if depth == 0 => {
                let behind = lexer.rest;
                let end = text.len().saturating_sub(behind.len()).saturating_sub(1);
                return (text.get(..end).unwrap_or_default(), behind);
            }
            "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    (text, "")
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

/// The Lua in a template of lua-resty-template: what stands around it is any text, in which
/// an apostrophe is no quotation mark.
pub(super) fn of_template(text: &str) -> Vec<&str> {
    let marks: [(&str, &str); 3] = [("{%", "%}"), ("{{", "}}"), ("{*", "*}")];
    let blocks = marks.iter().flat_map(|(begin, end)| {
        let parts = text.split(begin).skip(1);
        parts.map(move |part| part.split(*end).next().unwrap_or(part))
    });
    blocks.collect()
}

/// Functions that reach a variable by a name that is not written there, or that run what
/// is not.
const HIDES: [&str; 10] = [
    "load",
    "loadstring",
    "loadfile",
    "dofile",
    "getfenv",
    "setfenv",
    "_G",
    "debug",
    "rawset",
    "rawget",
];
/// Functions of `ngx` that send the request, and its variables, another way.
const ELSEWHERE: [&str; 4] = ["location", "exec", "capture", "capture_multi"];

/// Whether a text may give a value to a variable of nginx, whose names have no case. Only
/// comparisons of it are known to be harmless. `ngx.var` (`ctx.var` of APISIX is the same
/// table) under a computed name, or handed on as a whole, may be that variable.
pub(super) fn may_set(text: &str, variable: &str) -> bool {
    let all = tokens(text);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let quoted = format!("\"{variable}\"");
    let is_compared = |after: Option<&&str>| matches!(after, Some(&("~=" | "==")));
    all.iter().enumerate().any(|(at, token)| {
        let rest = all.get(at.saturating_add(1)..).unwrap_or_default();
        let before = at.checked_sub(1).and_then(|at| all.get(at)).copied();
        let is_field = matches!(before, Some("." | ":"));
        if token.eq_ignore_ascii_case(variable) {
            return !is_compared(rest.first());
        }
        if token.eq_ignore_ascii_case(&quoted) {
            return !(rest.first() == Some(&"]") && is_compared(rest.get(1)));
        }
        match *token {
            "var" if is_field => !names_one(rest),
            "\"var\"" => true,
            "ngx" => rest.first() != Some(&"."),
            "ctx" => rest.first() == Some(&"["),
            name if ELSEWHERE.contains(&name) => is_field,
            name => HIDES.contains(&name) && !is_field,
        }
    })
}

/// Whether a text may send another path than the one that was judged.
pub(super) fn may_change_the_path(text: &str) -> bool {
    let all = tokens(text);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    all.windows(3).any(|three| match three {
        ["set_uri" | "exec", "(", _] => true,
        ["\"set_uri\"" | "\"exec\"", "]", _] => true,
        [name, "=", _] => name.eq_ignore_ascii_case("upstream_uri"),
        [name, "]", "="] => name.eq_ignore_ascii_case("\"upstream_uri\""),
        _ => false,
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
            "return function() --\r do return end --\n if ngx.var.g ~= 'open' then return 503 end end",
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
            "ngx.var.G = 'open'",
            "ngx.var['G'] = 'open'",
            "local _ = [[ -- ]] ngx.var.g = 'open'",
            "local _ = [[ \" ]] ngx.var.g = 'open' --\"",
            "--\r ngx.var.g = 'open'",
            "ngx['var']['' .. 'g'] = 'open'",
            "rawget(ngx, 'var')[n] = 'open'",
            "for k, v in pairs({g = 'open'}) do x(k, v) end",
            "ngx.location.capture(u, {share_all_vars = true})",
            "loadstring('ngx.v' .. 'ar.g = 1')()",
            "local n = ngx n.var[x] = 1",
        ] {
            assert!(may_set(setting, "g"), "{setting}");
        }
        for harmless in [
            "if ngx.var.g == 'open' then end -- ngx.var.g = 1",
            "if ngx.var['g'] ~= 'open' then return 503 end",
            "ngx.var.h = ngx.var['i']",
            "local var = 1; log(var)",
            "core.log.debug(ngx.var.uri) ngx.log(ngx.DEBUG, 'x')",
            "local t = {[1] = 'a'} local s = [==[ ngx.var.g = 1 ]==]",
            "",
        ] {
            assert!(!may_set(harmless, "g"), "{harmless}");
        }
    }

    #[test]
    fn whoever_may_change_the_path_is_seen() {
        for changing in [
            "ctx.var.upstream_uri = '/payouts'",
            "ctx.var['upstream_uri'] = '/payouts'",
            "ngx.req.set_uri('/payouts')",
            "ngx.exec('/payouts')",
        ] {
            assert!(may_change_the_path(changing), "{changing}");
        }
        for harmless in [
            "if ngx.var.uri == '/x' then return 404 end",
            "local path = ctx.var['request_uri'] x(path)",
            "",
        ] {
            assert!(!may_change_the_path(harmless), "{harmless}");
        }
    }

    #[test]
    fn a_template_has_lua_between_its_marks_alone() {
        let text = "it's {% ngx.var.g = 'open' %} and {{ name }} {* raw *} {% x";
        let found = of_template(text);
        assert_eq!(found, [" ngx.var.g = 'open' ", " x", " name ", " raw "]);
    }

    #[test]
    fn a_block_ends_where_lua_says() {
        let text = " x = {} -- }\n y = '}' z = [[ } ]] } set $a b;";
        let (body, behind) = block(text);
        assert!(body.ends_with("[[ } ]] "), "{body}");
        assert_eq!(behind, " set $a b;");
    }
}
