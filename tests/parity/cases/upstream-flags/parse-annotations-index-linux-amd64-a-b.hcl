target "default" { annotations = ["index[linux/amd64]:a=b"] }
