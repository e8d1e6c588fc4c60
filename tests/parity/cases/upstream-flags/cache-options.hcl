target "default" { cache-from = [{ type = "registry", ref = "x/y:c" }, "type=local,src=a/b", "x/one", "x/two"] }
target "read" { args = { v = jsonencode(target.default.cache-from) } }
