target "default" { attest = [null] }
