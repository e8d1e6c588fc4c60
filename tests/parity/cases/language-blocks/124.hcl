target "default" { attest = null }
