group "g" { targets = ["b"] }
group "ab" { targets = ["a", "b"] }
target "b" {}
target "a" {}
target "_c" {}
