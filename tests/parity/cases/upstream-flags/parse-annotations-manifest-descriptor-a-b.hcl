target "default" { annotations = ["manifest-descriptor:a=b"] }
