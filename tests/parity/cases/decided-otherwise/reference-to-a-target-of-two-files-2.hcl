target "b" { tags = ["2"] }
