target "default" {
  dockerfile-inline = <<EOT
FROM x
RUN echo $${HOME} "${upper("a")}"
EOT
}
