target "default" { policy = [null] }
