"""Images made of images: trained on pairs, with a discriminator that sees both."""
