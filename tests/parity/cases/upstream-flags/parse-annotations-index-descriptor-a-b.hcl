target "default" { annotations = ["index-descriptor:a=b"] }
