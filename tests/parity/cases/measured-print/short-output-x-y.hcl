target "default" { output = ["x/y"] }
