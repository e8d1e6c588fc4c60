target "default" { output = ["-"] }
