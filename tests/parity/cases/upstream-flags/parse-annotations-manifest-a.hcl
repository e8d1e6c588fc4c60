target "default" { annotations = ["manifest:a"] }
