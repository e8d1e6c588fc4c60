target "default" { annotations = ["a=b:c=d"] }
