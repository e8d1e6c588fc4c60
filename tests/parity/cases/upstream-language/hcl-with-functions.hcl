target "default" { args = { n = "${add(40, 2)}" } }
