target "l" { context = "c" }
