//! What buildx and docker store in addition to the configuration: builders and contexts.

use super::Maker;

impl Maker {
    // A builder as buildx stores it, and whether it has an error in a field that rbake does not read.
    pub(super) fn builder(&mut self) -> (String, bool) {
        let mut nodes = Vec::new();
        let mut unread = false;
        for index in 0..self.random.below(3) {
            let options = self.object(&[
                ("default-load".to_owned(), "\"true\"".to_owned()),
                ("cacert".to_owned(), "\"/c/ca.pem\"".to_owned()),
            ]);
            let mut members = vec![
                self.text_member("Name", &format!("b{index}")),
                self.text_member("Endpoint", "unix:///run/b.sock"),
                self.member("DriverOpts", options),
            ];
            let wrong = self.random.percent(self.wildness / 4);
            unread |= wrong;
            let (key, right) = *self.random.pick(&[
                ("Platforms", "null"),
                ("Flags", r#"["--debug"]"#),
                ("Files", r#"{"buildkitd.toml":"aHVudGVy"}"#),
            ]);
            members.push(format!("\"{key}\":{}", if wrong { "5" } else { right }));
            nodes.push(format!("{{{}}}", members.join(",")));
        }
        let nodes = self.member("Nodes", format!("[{}]", nodes.join(",")));
        let members = [
            // The name is always correct, because buildx would look for a builder without a name in a file without a name.
            format!("{}:\"b\"", self.key("Name")),
            self.text_member("Driver", "remote"),
            nodes,
            "\"Dynamic\":false".to_owned(),
        ];
        (format!("{{{}}}", members.join(",")), unread)
    }

    // A context as docker stores it, and whether it has an error in a field that rbake does not read.
    pub(super) fn context(&mut self) -> (String, bool) {
        let members = [
            self.text_member("Host", "unix:///run/far.sock"),
            self.member("SkipTLSVerify", "false".to_owned()),
        ];
        let docker = format!("{{{}}}", members.join(","));
        let docker = self.or_wrong(docker);
        let unread = self.random.percent(self.wildness / 4);
        let other = if unread { "5" } else { "{}" };
        let endpoints = format!("{{\"docker\":{docker},\"kubernetes\":{other}}}");
        let members = [
            self.text_member("Name", "far"),
            format!("{}:{{\"Description\":\"d\"}}", self.key("Metadata")),
            self.member("Endpoints", endpoints),
        ];
        (format!("{{{}}}", members.join(",")), unread)
    }
}
