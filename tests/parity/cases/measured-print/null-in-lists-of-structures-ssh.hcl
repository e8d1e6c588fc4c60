target "default" { ssh = [null] }
