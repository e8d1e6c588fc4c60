target "default" { foo = NOPE }
