target "default" { secret = [null] }
