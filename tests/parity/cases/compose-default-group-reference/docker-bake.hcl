group "g" { targets = ["b", "default"] }
