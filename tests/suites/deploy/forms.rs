//! FORMS.md: the same configuration in the other forms that the hosts take.

use super::*;

/// The fenced blocks of a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let written = text(page);
    let begins = format!("```{language}\n");
    let all = written.split(&begins).skip(1);
    all.map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

fn taken(name: &str, block: &str) -> Value {
    let file = caracal_tests::processes::folder("forms").join(name);
    fs::write(&file, block).unwrap();
    let said = checked(&file);
    has_the_example_s_rules(&said);
    said
}

#[test]
fn kong_s_variables_are_the_lines_of_kong_conf() {
    let block = blocks("kong/FORMS.md", "sh").remove(0);
    let variables = block.lines().map(|line| {
        let (name, value) = line.strip_prefix("KONG_").unwrap().split_once('=').unwrap();
        (
            name.to_ascii_lowercase(),
            value.trim_matches('"').to_owned(),
        )
    });
    assert_eq!(variables.collect::<BTreeMap<_, _>>(), kong_conf());
}

#[test]
fn the_admin_apis_take_the_example() {
    let chain = blocks("kong/FORMS.md", "json").remove(0);
    let said = taken("chain.json", &chain);
    assert_eq!(said["configuration"]["host"], "kong");
    let chain: Value = serde_json::from_str(&chain).unwrap();
    assert_eq!(chain["filters"][0]["config"], kong_filter()["config"]);

    let route = blocks("apisix/FORMS.md", "json").remove(0);
    let said = taken("route.json", &route);
    assert_eq!(
        said["configuration"],
        checked(&file("apisix/apisix.yaml"))["configuration"]
    );
    // With etcd the plugin that looks at the gate is what is left without the filter.
    let mut bare: Value = serde_json::from_str(&route).unwrap();
    let plugins = bare["plugins"].as_object_mut().unwrap();
    plugins.remove("serverless-post-function").unwrap();
    let path = caracal_tests::processes::folder("forms").join("bare.json");
    fs::write(&path, bare.to_string()).unwrap();
    let done = check(&[], &path);
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("nothing looks at the gate"), "{said}");
}
