V = "1"
target "default" { args = { v = "<${V}>" } }
