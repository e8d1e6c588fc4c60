target "one" { dockerfile = target.one.name }
