target "default" { secret = [{ id = "one", src = "T333.hcl" }, { id = "two", env = "TWO" }, "id=one,env=LATER", "id=three,env=THREE"] }
target "read" { args = { v = jsonencode([target.default.secret, target.keys.ssh]) } }
target "keys" { ssh = ["default", "key=a/b", { id = "key", paths = ["c/d"] }] }
