target "default" { annotations = ["=b"] }
