target "a" { output = [null] }
target "b" { secret = [null] }
