target "default" { output = [null] }
