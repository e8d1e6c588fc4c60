group "a" { targets = ["b", "c"] }
group "b" { targets = ["d"] }
group "c" { targets = ["b"] }
group "e" { targets = ["a", "f"] }
target "d" { dockerfile = "./D" }
target "f" { context = "./f" }
