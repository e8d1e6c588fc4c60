target "n" { target = "t" }
