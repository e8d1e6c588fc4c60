target "default" { annotations = ["manifest:=b"] }
