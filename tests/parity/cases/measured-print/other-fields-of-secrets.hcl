target "default" { secret = [{ id = "A", type = "env", bogus = "1" }] }
