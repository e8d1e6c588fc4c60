target "default" { annotations = ["a"] }
