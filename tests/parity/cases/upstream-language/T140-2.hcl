V = "g"
