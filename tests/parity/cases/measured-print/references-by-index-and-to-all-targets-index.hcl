target "a" { tags = ["x"] }
target "default" { tags = target["a"].tags }
