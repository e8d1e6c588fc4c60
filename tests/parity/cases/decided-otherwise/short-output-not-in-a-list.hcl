target "default" { output = "/tmp" }
