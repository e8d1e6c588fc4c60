target "default" { args = { two = "${X}-2" } }
