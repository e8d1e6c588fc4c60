target "a" { contexts = {r = "./w"} }
