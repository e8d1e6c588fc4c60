target "default" { annotations = ["a=b"] }
