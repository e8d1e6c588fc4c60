target "a" { cache-from = ["x/a", "x/b", "x/a", "x/c", "x/b", "x/d"] }
target "p" { cache-from = ["x/a", "x/b", "x/c"] }
target "q" { cache-from = ["x/b", "x/d", "x/a"] }
target "i" { inherits = ["p", "q"] }
target "o" { output = ["type=image", "type=docker", "type=image", "type=oci,dest=x"] }
