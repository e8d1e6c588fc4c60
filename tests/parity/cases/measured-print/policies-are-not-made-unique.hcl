target "p" { policy = ["strict=true"] }
target "q" { inherits = ["p"] }
target "a" { inherits = ["p", "q"] }
