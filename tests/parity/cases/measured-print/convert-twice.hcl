target "default" { args = { a = convert("1", number), b = convert("2", number) } }
