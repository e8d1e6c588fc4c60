target "default" {
  tags = ["a"]
}
X = <<EOT
x
EOT