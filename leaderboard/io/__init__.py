"""Images, masks and archives in and out."""

#: What the names of the images that are read end in.
ENDINGS = (".nii.gz", ".nii", ".mha", ".nrrd")
