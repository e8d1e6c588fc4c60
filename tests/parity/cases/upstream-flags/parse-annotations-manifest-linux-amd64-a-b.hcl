target "default" { annotations = ["manifest[linux/amd64:a=b"] }
