target "default" {
  dockerfile-inline = <<-EOT
    FROM x
      RUN y
    EOT
}
