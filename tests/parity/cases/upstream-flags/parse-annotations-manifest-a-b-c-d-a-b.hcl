target "default" { annotations = ["manifest[a/b/c/d]:a=b"] }
