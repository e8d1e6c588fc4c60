group "outer" {
  targets = ["a", "b"]
}

# Within another group, an empty group means the target of its name.
group "a" {
  targets = []
}

target "a" {
  tags = ["a"]
}

target "b" {
  tags = ["b"]
}
